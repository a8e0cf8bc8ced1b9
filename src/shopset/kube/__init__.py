"""Kubernetes: the fleet's resources, Argo CD's Applications, statuses and Leases, through the API server."""
