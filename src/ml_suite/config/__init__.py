"""The deployment file: YAML with places, frozen models, checks and the JSON Schema for editors."""
