"""A dirty file as a person might have one: thirty columns with a leak, ids, constants, repeats and strange dates."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

ROWS, REPEATED, UNREADABLE = 3000, 9, 6
CITIES = ["Köln", "Zürich", "Genève", "Málaga"]
HEADER = (
    "customer;opened;born;closed;name;city;plan;income;age;calls;minutes;balance;rating;segment;zip;country;online;"
    "a;b;c;d;e;f;notes;source;constant;empty;refund_reason;final_bill;churn"
)


def write_customers(path: Path) -> None:
    """Customers in latin-1 with `;`, dates by day first, decimal commas and five ways to say missing."""
    rng = np.random.default_rng(0)
    lines = [HEADER]
    calls, ages = rng.poisson(2, ROWS), rng.integers(18, 90, ROWS)
    churned = rng.random(ROWS) < 1 / (1 + np.exp(2.2 - 0.6 * calls))
    for row, day in enumerate(np.sort(rng.integers(0, 730, ROWS))):
        opened = datetime(2012, 1, 1) + timedelta(days=int(day), minutes=int(rng.integers(1440)))
        left = bool(churned[row])
        values = [
            f"C{row:05d}",
            f"{opened:%d/%m/%Y %H:%M}",
            f"{datetime(2012 - ages[row], 3, 1) + timedelta(days=int(rng.integers(300))):%d/%m/%Y}",
            f"{opened + timedelta(days=20):%d/%m/%Y}" if left else "",
            f"Name{row}-{rng.integers(1000)}",
            CITIES[rng.integers(4)],
            rng.choice(["basic", "Basic", "plus", "pro"], p=[0.5, 0.02, 0.3, 0.18]),
            f"{rng.lognormal(10, 0.5):.2f}" if rng.random() > 0.05 else "N/A",
            "old" if row < UNREADABLE else str(ages[row]),
            str(calls[row]),
            f"{rng.gamma(2, 100):.1f}".replace(".", ","),
            f"{rng.normal(0, 1000):.2f}" if rng.random() > 0.01 else "?",
            "-999" if row % 50 == 0 else "-" if row % 11 == 0 else str(rng.integers(1, 6)),
            "ABC"[rng.integers(3)],
            f"{rng.integers(0, 999):05d}",
            rng.choice(["DE", "CH", "NA"]),
            rng.choice(["yes", "no"]),
            *(f"{rng.normal():.3f}" for _ in range(6)),
            *("nothing new", "web", "1", ""),
            "too expensive" if left and rng.random() < 0.9 else "",
            f"{50 + 40 * left + rng.normal(0, 3):.2f}",
            "yes" if left else "no",
        ]
        lines.append(";".join(values))
    path.write_text("\n".join([*lines, *lines[100 : 100 + REPEATED]]) + "\n", encoding="latin-1")
