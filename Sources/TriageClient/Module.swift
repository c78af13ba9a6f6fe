import TriageBase
