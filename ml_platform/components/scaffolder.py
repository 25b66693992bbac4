"""What `dg scaffold defs ml_platform.components.UseCase NAME` writes: a use case with blanks."""

import dagster as dg


class UseCaseScaffolder(dg.Scaffolder):
    """Writes the YAML file of a use case whose data is still to be named."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Write `defs.yaml` into the folder that `dg` has made."""
        from ml_platform.onboarding.scaffold import blank

        (request.target_path / "defs.yaml").write_text(blank(request.target_path.name), encoding="utf-8")
