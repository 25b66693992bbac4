"""Pages that must not fall behind the code."""

from pathlib import Path

from ml_platform.definitions import defs
from ml_platform.use_case import PLATFORM_CHECKS

DOCS = Path(__file__).parents[1] / "docs"


def test_every_check_of_the_shipped_use_case_is_explained() -> None:
    page = (DOCS / "gates.md").read_text(encoding="utf-8")
    metrics = ("roc_auc", "average_precision")
    names = {key.name for key in defs().resolve_asset_graph().asset_check_keys}
    names |= {name for checks in PLATFORM_CHECKS.values() for name in checks}
    for metric in metrics:
        names = {name.replace(f"{metric}_", "METRIC_") for name in names}
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_what_the_guide_makes_is_what_init_is_asked_to_read() -> None:
    page = (DOCS / "your_own_data.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    compile(code, "make_customers.py", "exec")
    assert 'open("shop/data/customers.csv"' in code
    assert "--data shop/data/customers.csv" in page
