"""Stock stubs for every service that the server offers, made from Protos/ when the tests start.

grpcio-tools does what a partner would do; the tests use nothing of this project's own client code.
"""

import atexit
import importlib
import pathlib
import shutil
import sys
import tempfile

import grpc
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROTOS = ROOT / "Protos"


def _generate():
    out = pathlib.Path(tempfile.mkdtemp(prefix="triaged-stubs-"))
    atexit.register(shutil.rmtree, out)
    well_known = pathlib.Path(protoc.__file__).parent / "_proto"
    names = sorted(
        str(path.relative_to(PROTOS))
        for folder in ("triaged/v1", "google/rpc", "grpc")
        for path in (PROTOS / folder).rglob("*.proto"))
    arguments = ["protoc", f"-I{PROTOS}", f"-I{well_known}", f"--python_out={out}",
                 f"--grpc_python_out={out}", *names]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc refused Protos/")
    sys.path.insert(0, str(out))
    # The published package grpc.health.v1 lies beside, not inside, the Python package grpc.
    grpc.__path__.append(str(out / "grpc"))
    return names


NAMES = _generate()


def _load(proto):
    stem = proto.removesuffix(".proto").replace("/", ".")
    return importlib.import_module(stem + "_pb2"), importlib.import_module(stem + "_pb2_grpc")


report, _ = _load("triaged/v1/report.proto")
case, _ = _load("triaged/v1/case.proto")
lease, _ = _load("triaged/v1/lease.proto")
disclosure, _ = _load("triaged/v1/disclosure.proto")
triage, triage_grpc = _load("triaged/v1/triage_service.proto")
assignment, assignment_grpc = _load("triaged/v1/assignment_service.proto")
disclosures, disclosures_grpc = _load("triaged/v1/disclosure_service.proto")
evidence, _ = _load("triaged/v1/evidence.proto")
evidences, evidences_grpc = _load("triaged/v1/evidence_service.proto")
audits, audits_grpc = _load("triaged/v1/audit_service.proto")
operations, operations_grpc = _load("triaged/v1/operations_service.proto")
status, _ = _load("google/rpc/status.proto")
error_details, _ = _load("google/rpc/error_details.proto")
_health = next(name for name in NAMES if name.startswith("grpc/health/v1/"))
health, health_grpc = _load(_health)

SERVICES = [module.DESCRIPTOR.services_by_name[name] for module, name in (
    (triage, "TriageService"), (assignment, "AssignmentService"),
    (disclosures, "DisclosureService"), (evidences, "EvidenceService"),
    (audits, "AuditService"), (operations, "OperationsService"))]
METHODS = {f"/{service.full_name}/{method.name}"
           for service in SERVICES for method in service.methods}
