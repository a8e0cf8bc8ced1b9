"""shopset-edge, the agent beside each HAProxy: it follows git and keeps HAProxy at what git says."""
