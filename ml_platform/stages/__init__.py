"""The stages of a use case: one module a stage, each one asset (quarantine comes with validated data) and its checks."""
