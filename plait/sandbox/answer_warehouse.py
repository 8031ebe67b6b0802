"""The seeded "Sales warehouse": a small, real SQLite database of a fictional instrument maker.

The example workbook in `examples/` is made from the same figures, so that a database answer and a
document answer can be compared.
"""

import sqlite3
from dataclasses import dataclass
from typing import Final

YEAR: Final = 2026
QUARTERS: Final = ("Q1", "Q2", "Q3")
REGIONS: Final = ("Nordics", "DACH", "Benelux", "Iberia")
PRODUCTS: Final = {
    "Field Spectrometer": 4_200,
    "Bench Analyzer": 9_800,
    "Sensor Kit": 650,
    "Service Plan": 1_200,
}
"""Product and unit price in EUR."""

UNITS: Final[dict[str, dict[str, tuple[int, ...]]]] = {
    "Q1": {
        "Nordics": (42, 18, 260, 75),
        "DACH": (61, 27, 340, 110),
        "Benelux": (35, 14, 190, 58),
        "Iberia": (28, 9, 150, 41),
    },
    "Q2": {
        "Nordics": (45, 19, 275, 80),
        "DACH": (66, 29, 360, 118),
        "Benelux": (33, 15, 205, 61),
        "Iberia": (31, 11, 162, 44),
    },
    "Q3": {
        "Nordics": (51, 22, 301, 88),
        "DACH": (64, 31, 382, 125),
        "Benelux": (38, 13, 214, 66),
        "Iberia": (36, 12, 175, 49),
    },
}
"""Units sold by quarter and region, in the order of `PRODUCTS`."""

_CUSTOMERS: Final = (
    ("Fjord Water Authority", "Norway", "Nordics", "Public", 412_000),
    ("Aalto Materials Lab", "Finland", "Nordics", "Research", 186_500),
    ("Skåne Dairy Group", "Sweden", "Nordics", "Food", 158_900),
    ("Rheinwerk Chemie", "Germany", "DACH", "Chemicals", 655_200),
    ("Alpenquell Brewing", "Austria", "DACH", "Food", 143_700),
    ("Limmat Diagnostics", "Switzerland", "DACH", "Research", 298_400),
    ("Neckar Pharma", "Germany", "DACH", "Pharma", 521_000),
    ("Delta Dredging", "Netherlands", "Benelux", "Public", 174_300),
    ("Brabant Seeds", "Belgium", "Benelux", "Food", 132_600),
    ("Tejo Olive Oils", "Portugal", "Iberia", "Food", 98_400),
    ("Costa Verde Water", "Spain", "Iberia", "Public", 121_900),
    ("Instituto Ebro", "Spain", "Iberia", "Research", 87_200),
)

_SCHEMA: Final = """
CREATE TABLE sales (
    year INTEGER, quarter TEXT, region TEXT, product TEXT, units INTEGER, unit_price INTEGER, revenue INTEGER
);
CREATE TABLE customers (name TEXT, country TEXT, region TEXT, segment TEXT, contract_value INTEGER);
"""


@dataclass(frozen=True, slots=True)
class Sale:
    """Sales of one product in one region and quarter; money in EUR."""

    quarter: str
    region: str
    product: str
    units: int
    unit_price: int

    @property
    def revenue(self) -> int:
        """Units times price, EUR."""
        return self.units * self.unit_price


def sales() -> tuple[Sale, ...]:
    """All figures, in the order of quarter, region, product."""
    return tuple(
        Sale(quarter, region, product, units, price)
        for quarter in QUARTERS
        for region in REGIONS
        for (product, price), units in zip(PRODUCTS.items(), UNITS[quarter][region], strict=True)
    )


def open_warehouse() -> sqlite3.Connection:
    """A fresh in-memory copy that refuses writes; use it on the thread that opened it."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(_SCHEMA)
    connection.executemany(
        "INSERT INTO sales VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(YEAR, s.quarter, s.region, s.product, s.units, s.unit_price, s.revenue) for s in sales()],
    )
    connection.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?)", _CUSTOMERS)
    connection.commit()
    connection.execute("PRAGMA query_only = ON")
    return connection
