"""The way out of a sandbox: a proxy on the host that holds to an allow-list.

A sandbox with an allow-list has no network but its own loopback. Its first process opens listening
sockets there, before any call, and hands them to the host. The host accepts on them, so nothing
inside can go around it: names are resolved here, every address is checked, and the connection goes
to the address that was checked.

    plan = egress.plan(spec.network)          # what to listen on inside, and the environment
    way_out = egress.serve(plan, descriptors) # the listening sockets, in the order of plan.listen
    way_out.refusals(since)                   # sentences for notes
    way_out.close()                           # blocking, bounded; from a worker thread

`none` and `full` need no way out: their plan listens on nothing, and serving it does nothing.
"""

from planloop.sandboxes.egress.planning import CERTIFICATES, Listen, Plan, plan
from planloop.sandboxes.egress.serving import Egress, serve

__all__ = ["CERTIFICATES", "Egress", "Listen", "Plan", "plan", "serve"]
