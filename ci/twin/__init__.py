"""Four clusters, an ops host and a fake internet on one machine, each host in namespaces of its own."""
