"""An app that reports sales: 100,000 dirty rows, two tools that cost something, two failures.

python examples/sales-report/app.py
"""

import hashlib
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from planloop import Agent, Candidate, PythonCheck, Task, tool

HERE = Path(__file__).parent
RATES = {"EUR": "1.0837", "GBP": "1.2719", "JPY": "0.006541", "USD": "1"}
REGIONS = ("east", "north", "south", "west")
FIRST_REFUND = 73_214
"""The line of the first amount in parentheses: bookkeepers write refunds like that."""


class Desk:
    """What the tools reach: look-ups that are charged, and mail that fails once."""

    def __init__(self) -> None:
        self.looked_up: list[str] = []
        self.mails: list[tuple[str, str]] = []
        self.outages = 1


def build(desk: Desk, sandbox: str = "auto") -> Agent[Desk, str]:
    @tool
    def rate(currency: str) -> str:
        """US dollars for one unit of a currency; each look-up is charged."""
        desk.looked_up.append(currency)
        return RATES[currency]

    @tool
    def mail(region: str, total: str) -> str:
        """Mail the total of a region to its manager."""
        if len(desk.mails) == 2 and desk.outages:
            desk.outages -= 1
            raise ConnectionError("the mail server does not answer")
        desk.mails.append((region, total))
        return f"mail {len(desk.mails)}"

    def told_once(result: Candidate) -> bool | str:
        assert result.folder is not None
        rows = (result.folder / "report.csv").read_text().splitlines()[1:]
        wanted = [tuple(row.split(",")) for row in rows]
        return desk.mails == wanted or f"the outbox says {desk.mails}"

    return Agent(
        model=f"replay:{HERE / 'replay.jsonl'}",
        tools=[rate, mail],
        checks=[told_once],
        sandbox=sandbox,
    )


def task(folder: Path) -> Task:
    """The task over a folder, into which the sales are written first."""
    sales = "".join(rows())
    (folder / "sales.csv").write_text(sales)
    digest = hashlib.sha256(sales.encode()).hexdigest()
    recount = f"DIGEST = {digest!r}\nRATES = {RATES!r}\n{(HERE / 'recount.py').read_text()}"
    return Task(
        text="Write `report.csv`, with the columns region and total: what each region sold, in "
        "US dollars, exact to the cent, by `sales.csv`. Then mail each region its total.",
        folder=folder,
        checks=(PythonCheck(python=recount),),
    )


def rows() -> Iterator[str]:
    """The lines of sales.csv: the same ones every time."""
    chance = random.Random(1)
    yield "day,region,currency,amount\n"
    for line in range(2, 100_002):
        day = f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
        region, currency = chance.choice(REGIONS), chance.choice(sorted(RATES))
        refund = line == FIRST_REFUND or (line > FIRST_REFUND and chance.random() < 0.01)
        yield f"{day},{region},{currency},{_dirty(chance, refund)}\n"


def _dirty(chance: random.Random, refund: bool) -> str:
    cents = chance.randint(1, 500_000)
    plain, grouped = f"{cents / 100:.2f}", f'"{cents / 100:,.2f}"'
    if refund:
        return f"({plain})"
    return chance.choices([plain, grouped, f"  {plain} ", ""], [90, 6, 3, 1])[0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk()
        agent = build(desk)
        result = agent.run_sync(task(Path(folder)))
        print(f"{result.status}: {result.output}")
        print(f"look-ups: {desk.looked_up}; mails: {[region for region, _ in desk.mails]}")
        agent.close()
