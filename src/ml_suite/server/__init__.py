"""The ecFlow server: fetch, plan, apply, status; knows definitions, knows no YAML."""
