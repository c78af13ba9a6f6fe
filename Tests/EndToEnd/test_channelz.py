"""Channelz and Health List as stock stubs see them: what a running server says of itself."""

import ipaddress

import grpc
import stubs
from builders import submission
from harness import refused

Z, Z_GRPC = stubs._load("grpc/channelz/v1/channelz.proto")


def channelz(client, identity="sre"):
    return Z_GRPC.ChannelzStub(client(identity).raw)


def test_a_server_counts_its_calls(server, client):
    stub = channelz(client)
    [before] = stub.GetServers(Z.GetServersRequest(), timeout=10).server
    client("classifier").triage.SubmitReport(submission())
    answer = stub.GetServer(Z.GetServerRequest(server_id=before.ref.server_id), timeout=10)
    after = answer.server
    # The call that asks has begun and not ended.
    assert after.data.calls_started == before.data.calls_started + 2
    assert after.data.calls_succeeded == before.data.calls_succeeded + 2
    port = int(server.address.rsplit(":", 1)[1])
    [listener] = after.listen_socket
    socket = stub.GetSocket(Z.GetSocketRequest(socket_id=listener.socket_id), timeout=10).socket
    assert socket.local.tcpip_address.port == port


def test_connections_are_listed_with_their_peers(server, client):
    stub = channelz(client)
    classifier = client("classifier")
    for _ in range(3):
        classifier.triage.SubmitReport(submission())
    [one] = stub.GetServers(Z.GetServersRequest(), timeout=10).server
    found, start = {}, 0
    while True:
        page = stub.GetServerSockets(Z.GetServerSocketsRequest(
            server_id=one.ref.server_id, start_socket_id=start, max_results=1), timeout=10)
        for each in page.socket_ref:
            socket = stub.GetSocket(
                Z.GetSocketRequest(socket_id=each.socket_id), timeout=10).socket
            assert each.socket_id not in found
            found[each.socket_id] = socket
            start = each.socket_id + 1
        if page.end:
            break
    mine = [each for each in found.values() if each.remote_name.endswith("classifier")]
    assert mine, [each.remote_name for each in found.values()]
    assert any(each.data.messages_received >= 3 and each.data.streams_succeeded >= 3
               for each in mine)
    for each in found.values():
        assert each.security.tls.standard_name.startswith("TLS_")
        assert ipaddress.ip_address(each.remote.tcpip_address.ip_address).is_loopback


def test_only_operators_see_it(client):
    for identity in ("ana", "classifier", "police"):
        refusal = refused(channelz(client, identity).GetServers, Z.GetServersRequest(), timeout=10)
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED


def test_there_are_no_channels(client):
    stub = channelz(client)
    answer = stub.GetTopChannels(Z.GetTopChannelsRequest(), timeout=10)
    assert answer.end and not answer.channel
    for call, request in ((stub.GetChannel, Z.GetChannelRequest(channel_id=1)),
                          (stub.GetSubchannel, Z.GetSubchannelRequest(subchannel_id=1)),
                          (stub.GetSocket, Z.GetSocketRequest(socket_id=1 << 60))):
        assert refused(call, request, timeout=10).code is grpc.StatusCode.NOT_FOUND


def test_health_list_names_every_service(client):
    listed = client("ana").health.List(stubs.health.HealthListRequest(), timeout=10).statuses
    for name in ["", *(each.full_name for each in stubs.SERVICES)]:
        assert listed[name].status == stubs.health.HealthCheckResponse.SERVING
