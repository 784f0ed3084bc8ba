"""Recounts the sales in another way than the plan: whole numbers only, and a regular expression.

`DIGEST` and `RATES` are put before it: what sales.csv was, and dollars by currency.
"""

import hashlib
import re
from pathlib import Path

PATTERN = re.compile(r'^[\d-]+,(\w+),(\w+),"? *(\(?)([\d,]*)\.?(\d*)\)? *"?$')
MILLIONTHS = 10**6

sales = Path("sales.csv").read_bytes()
assert hashlib.sha256(sales).hexdigest() == DIGEST, "sales.csv has changed"  # noqa: F821

totals = {}
for line in sales.decode().splitlines()[1:]:
    region, currency, refund, whole, cents = PATTERN.match(line).groups()
    amount = int(whole.replace(",", "") or 0) * 100 + int(cents or 0)
    units, _, fraction = RATES[currency].partition(".")  # noqa: F821
    rate = int(units) * MILLIONTHS + int(fraction.ljust(6, "0"))
    totals[region] = totals.get(region, 0) + (-amount if refund else amount) * rate

wanted = ["region,total"]
for region, total in sorted(totals.items()):
    cents = (total + MILLIONTHS // 2) // MILLIONTHS
    wanted.append(f"{region},{cents // 100}.{cents % 100:02}")
found = Path("report.csv").read_text().splitlines()
assert found == wanted, f"the report says {found}, and a recount {wanted}"
