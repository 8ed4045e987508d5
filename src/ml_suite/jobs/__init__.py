"""What tasks run on a host; importable without ecflow and click."""
