"""Three doors, each with trust, revocation and roles of its own, to one service."""

import ssl
import subprocess

import grpc
import harness
import pytest
import raw
import stubs
from builders import filing, report, scope, submission, verification
from harness import Failed, ROOT, await_true, refused, request_id

T, D, S, O = stubs.triage, stubs.disclosure, stubs.disclosures, stubs.operations
Z, Z_GRPC = stubs._load("grpc/channelz/v1/channelz.proto")
HEALTH = stubs.health.HealthCheckRequest()
DOORS = ("internal", "partner", "external")


def mint(directory, *words):
    subprocess.run([ROOT / "Certs" / "mint", directory, *words], check=True,
                   stdout=subprocess.DEVNULL)
    return directory


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    """One authority a door; each dares to name everybody, the others' people too."""
    return {door: mint(tmp_path_factory.mktemp(door)) for door in DOORS}


class House:
    """A server with all three doors; health probes need no certificate at the external one."""

    def __init__(self, make, authorities, *extra):
        self.authorities = authorities
        words = ["--external-client-certificates", "optional", *extra]
        for door in DOORS[1:]:
            words += [f"--{door}-listen", "127.0.0.1:0",
                      f"--{door}-client-ca", authorities[door] / "ca.crt",
                      f"--{door}-crl", authorities[door] / "crl.pem"]
        self.server = make(certs=authorities["internal"], extra=words).start()
        self.address = {"internal": self.server.address}
        for _ in DOORS[1:]:
            _, door, address = self.server.process.stdout.readline().decode().split()
            self.address[door] = address
        assert set(self.address) == set(DOORS)

    def client(self, door, identity, authority=None):
        """An identity of a door's own authority, or of another one, at that door."""
        return harness.Client(
            self.address[door], self.authorities[authority or door], identity,
            authority=self.authorities["internal"] / "ca.crt")

    def is_let_in(self, door, authority, identity):
        context = raw.tls_context(self.authorities[authority], identity)
        context.load_verify_locations(self.authorities["internal"] / "ca.crt")
        try:
            raw.Connection(self.address[door], None, None, context=context).close()
            return True
        except (ssl.SSLError, ConnectionError, AssertionError):
            return False


@pytest.fixture
def house(fresh, authorities):
    return House(fresh, authorities)


def test_an_authority_opens_its_own_door_and_no_other(house):
    for door in DOORS:
        for authority in DOORS:
            assert house.is_let_in(door, authority, "sre") == (door == authority), (door, authority)


def test_a_partner_reports_and_sees_nothing_of_the_house(house):
    with house.client("partner", "hotline") as hotline, house.client("internal", "dana") as dana:
        sent = hotline.triage.SubmitReport(submission())
        result = hotline.triage.SubmitReports(iter(
            T.SubmitReportsRequest(request_id=request_id(), report=report()) for _ in range(3)))
        assert result.accepted_count == 3
        cases = dana.triage.ListCases(T.ListCasesRequest()).cases
        assert len(cases) == 4 and sent.case in {each.name for each in cases}
        for call, message in [
                (hotline.triage.GetCase, T.GetCaseRequest(name=sent.case)),
                (hotline.triage.ListCases, T.ListCasesRequest()),
                (hotline.disclosures.SubmitDisclosureRequest, filing()),
                (hotline.operations.GetStatus, O.GetStatusRequest())]:
            assert refused(call, message).code is grpc.StatusCode.PERMISSION_DENIED


def test_an_agency_goes_from_filing_to_approval_through_its_door(house):
    with house.client("external", "police") as police, \
            house.client("internal", "erin") as erin, house.client("internal", "farid") as farid:
        filed = police.disclosures.SubmitDisclosureRequest(filing())
        watch = police.disclosures.WatchDisclosureRequest(
            S.WatchDisclosureRequestRequest(name=filed.name), timeout=30)
        for method in (D.VERIFICATION_METHOD_AGENCY_CERTIFICATE, D.VERIFICATION_METHOD_CALL_BACK):
            verified = erin.disclosures.AddVerification(S.AddVerificationRequest(
                request_id=request_id(), name=filed.name, verification=verification(method)))
        scoped = erin.disclosures.SetScope(S.SetScopeRequest(
            request_id=request_id(), name=filed.name, scope=scope(), etag=verified.etag))
        farid.disclosures.ApproveDisclosure(S.ApproveDisclosureRequest(
            request_id=request_id(), name=filed.name, etag=scoped.etag))
        assert [each.disclosure_request.state for each in watch][-1] == D.DISCLOSURE_STATE_APPROVED
        theirs = police.disclosures.GetDisclosureRequest(
            S.GetDisclosureRequestRequest(name=filed.name))
        assert theirs.state == D.DISCLOSURE_STATE_APPROVED and not theirs.verifications
        with house.client("external", "other-agency") as other:
            missing = filed.name[:-1] + ("0" if filed.name[-1] != "0" else "1")
            answers = {refused(other.disclosures.GetDisclosureRequest,
                               S.GetDisclosureRequestRequest(name=name)).reason
                       for name in (filed.name, missing)}
            assert len(answers) == 1, "a foreign one looks like a missing one"


@pytest.mark.parametrize("door, identity", [
    # A door's authority may write any name; it gives nobody more than the door's role.
    ("partner", "sre"), ("partner", "dana"), ("partner", "classifier"), ("partner", "police"),
    ("external", "sre"), ("external", "dana"), ("external", "hotline"), ("external", "classifier"),
])
def test_a_name_of_another_door_has_no_rights(house, door, identity):
    with house.client(door, identity) as fraud:
        assert fraud.health.Check(HEALTH).status == stubs.health.HealthCheckResponse.SERVING
        for call, message in [
                (fraud.operations.GetStatus, O.GetStatusRequest()),
                (fraud.triage.SubmitReport, submission()),
                (fraud.triage.ListCases, T.ListCasesRequest()),
                (fraud.disclosures.SubmitDisclosureRequest, filing()),
                (fraud.disclosures.ListDisclosureRequests, S.ListDisclosureRequestsRequest())]:
            assert refused(call, message).code is grpc.StatusCode.PERMISSION_DENIED


def test_without_a_certificate_only_health_and_only_where_it_is_allowed(house):
    for door in ("internal", "partner"):
        with house.client(door, None) as probe:
            with pytest.raises(grpc.RpcError) as failure:
                probe.health.Check(HEALTH, timeout=20)
            assert failure.value.code() is grpc.StatusCode.UNAVAILABLE, door
    with house.client("external", None) as probe:
        assert probe.health.Check(HEALTH).status == stubs.health.HealthCheckResponse.SERVING
        assert next(probe.health.Watch(HEALTH, timeout=5)).status == \
            stubs.health.HealthCheckResponse.SERVING
        for call, message in [
                (probe.operations.GetStatus, O.GetStatusRequest()),
                (probe.health.List, stubs.health.HealthListRequest()),
                (probe.disclosures.SubmitDisclosureRequest, filing()),
                (probe.triage.SubmitReport, submission())]:
            assert refused(call, message).code is grpc.StatusCode.UNAUTHENTICATED
    assert house.is_let_in("external", "external", "police"), "others show theirs"
    assert not house.is_let_in("external", "partner", "hotline"), "a wrong one is still refused"


def test_a_revocation_counts_at_its_own_door(fresh, authorities, tmp_path_factory):
    mine = dict(authorities, partner=mint(tmp_path_factory.mktemp("revoking")))
    house = House(fresh, mine)
    assert house.is_let_in("partner", "partner", "hotline")
    mint(mine["partner"], "--revoke", "hotline")
    await_true(lambda: not house.is_let_in("partner", "partner", "hotline"), 10, "the revocation")
    assert house.is_let_in("partner", "partner", "ana"), "nobody else"
    assert house.is_let_in("internal", "internal", "hotline"), "another authority's namesake"


def test_channelz_shows_every_door_and_who_came_through_it(house):
    with house.client("internal", "sre") as sre, house.client("partner", "hotline") as hotline:
        hotline.health.Check(HEALTH)
        stub = Z_GRPC.ChannelzStub(sre.raw)
        [server] = stub.GetServers(Z.GetServersRequest(), timeout=10).server
        ports = {}
        for each in server.listen_socket:
            socket = stub.GetSocket(
                Z.GetSocketRequest(socket_id=each.socket_id), timeout=10).socket
            ports[each.name.split()[0]] = socket.local.tcpip_address.port
        assert ports == {door: int(address.rsplit(":", 1)[1])
                         for door, address in house.address.items()}
        sockets = stub.GetServerSockets(
            Z.GetServerSocketsRequest(server_id=server.ref.server_id), timeout=10).socket_ref
        assert sorted(each.name.split()[0] for each in sockets) == ["internal", "partner"]
        [theirs] = [each for each in sockets if each.name.startswith("partner ")]
        socket = stub.GetSocket(Z.GetSocketRequest(socket_id=theirs.socket_id), timeout=10).socket
        assert socket.local.tcpip_address.port == ports["partner"]
        assert socket.remote_name == "spiffe://triaged.example/partner/hotline"


def test_a_door_of_the_service_managers_passes_the_check(fresh, authorities):
    """Its socket is handed to the server alone: the check, a successor's too, has none."""
    server = fresh(extra=["--partner-client-ca", authorities["partner"] / "ca.crt",
                          "--partner-crl", authorities["partner"] / "crl.pem"])
    words = [str(word) for word in server.arguments()]
    words[words.index("serve")] = "check-config"
    server.data.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "partner-listen: that of the service manager's socket" in done.stdout
    assert "partner certificate" in done.stdout


@pytest.mark.parametrize("extra", [
    ["--partner-listen", "127.0.0.1:0"], ["--external-client-ca", "x.pem"],
    ["--partner-crl", "x.pem"], ["--partner-client-certificates", "optional"],
    ["--client-certificates", "never"]])
def test_half_a_door_is_a_wrong_configuration(fresh, extra):
    with pytest.raises(Failed) as failure:
        fresh(extra=extra).start()
    assert failure.value.code == 78
