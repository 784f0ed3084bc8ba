"""An app that lets a planner buy bolts: four tools of its own, one of which fails at first."""

from pathlib import Path

from planloop import Agent, Candidate, Task, tool

QUOTES = {"acme": 9.20, "umbra": 8.75, "nordic": 9.90}
STOCK = {"acme": 500, "umbra": 120, "nordic": 800}


class Shop:
    def __init__(self) -> None:
        self.orders: list[tuple[str, int]] = []
        self.outages = 1


def build(shop: Shop) -> Agent[Shop, str]:
    @tool(effect="reads")
    def quote(supplier: str) -> dict[str, float]:
        """Price of one bolt in dollars."""
        return {"price": QUOTES[supplier]}

    @tool(effect="reads")
    def stock(supplier: str) -> int:
        """Bolts in stock."""
        return STOCK[supplier]

    @tool
    def order(supplier: str, count: int) -> str:
        """Order bolts; returns the order's number."""
        shop.orders.append((supplier, count))
        return f"{supplier}-{len(shop.orders)}"

    @tool
    def confirm(number: str) -> str:
        """Confirm an order by mail."""
        if shop.outages:
            shop.outages -= 1
            raise ConnectionError("the mail server does not answer")
        return f"{number} confirmed"

    def bought_once(result: Candidate) -> bool | str:
        return shop.orders == [("acme", 300)] or f"the shop's book says {shop.orders}"

    replay = Path(__file__).with_name("replay.jsonl")
    tools = [quote, stock, order, confirm]
    return Agent(model=f"replay:{replay}", tools=tools, checks=[bought_once])


if __name__ == "__main__":
    agent = build(Shop())
    result = agent.run_sync(Task(text="Buy 300 bolts where they cost least and are in stock."))
    print(f"{result.status}: {result.output} ({result.usage.calls} calls)")
