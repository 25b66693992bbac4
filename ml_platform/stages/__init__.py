"""The stages of a use case: one module a stage, each an asset with the checks that guard it."""
