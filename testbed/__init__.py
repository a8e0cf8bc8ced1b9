"""The test bed: etcd, four API servers, Argo CD, git over HTTP, Prometheus and Alertmanager, all real, in one folder."""
