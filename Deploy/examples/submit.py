"""Submits a report with stock grpcio: Deploy/examples/submit.py [HOST:PORT]

Needs grpcio and grpcio-tools (`Deploy/.venv` has them) and the certificates of Certs/dev. The stubs
are made from Protos/ when this program starts; a service of your own would generate them once.
"""

import os
import pathlib
import sys
import uuid

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
CERTS = pathlib.Path(os.environ.get("TRIAGED_CERTS", ROOT / "Certs" / "dev"))

sys.path.insert(0, str(ROOT / "Protos"))
report_pb2 = grpc.protos("triaged/v1/report.proto")
case_pb2 = grpc.protos("triaged/v1/case.proto")
triage_pb2, triage_pb2_grpc = grpc.protos_and_services("triaged/v1/triage_service.proto")


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "localhost:8443"
    credentials = grpc.ssl_channel_credentials(
        root_certificates=(CERTS / "ca.crt").read_bytes(),
        private_key=(CERTS / "classifier.key").read_bytes(),
        certificate_chain=(CERTS / "classifier.crt").read_bytes())
    request = triage_pb2.SubmitReportRequest(
        # The same id again returns the first answer: after a lost reply, just send it once more.
        request_id=str(uuid.uuid4()),
        report=report_pb2.Report(
            subject=report_pb2.Subject(
                kind=report_pb2.SUBJECT_KIND_LIVE_STREAM, id=f"live:{uuid.uuid4()}",
                live_stream=report_pb2.LiveStream(live=True, viewer_count=1200)),
            harm_family=report_pb2.HARM_FAMILY_SUICIDE_SELF_HARM,
            imminence=report_pb2.IMMINENCE_NOW,
            modifiers=[report_pb2.RISK_MODIFIER_LOCATION_KNOWN],
            reporter=report_pb2.Reporter(kind=report_pb2.REPORTER_KIND_USER),
            language_code="en", region_code="US",
            description="Synthetic report from Deploy/examples/submit.py."))
    with grpc.secure_channel(address, credentials) as channel:
        try:
            reply = triage_pb2_grpc.TriageServiceStub(channel).SubmitReport(request, timeout=10)
        except grpc.RpcError as error:
            sys.exit(f"{error.code().name}: {error.details()}")
    verb = "opened" if reply.opened else "joined"
    print(f"{reply.report} {verb} {reply.case}, level {case_pb2.Level.Name(reply.level)}")


if __name__ == "__main__":
    main()
