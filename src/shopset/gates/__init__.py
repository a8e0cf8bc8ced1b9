"""Gates on real parts: Prometheus, Alertmanager, HTTP, and the hooks of Argo CD."""

from shopset.gates.readers import Gates
from shopset.gates.targets import Hook, Hooks, Secrets, Target, Targets

__all__ = ["Gates", "Hook", "Hooks", "Secrets", "Target", "Targets"]
