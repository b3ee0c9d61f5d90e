"""A platform: two tenants bring source at run time; limits, denial and metering."""

import asyncio

from cloche import Cloche, DeployRefused, Grant, Policy, create_step

STEP = 'const step = (id) => globalThis[Symbol.for("WORKFLOW_USE_STEP")](id);\n'
ACME = STEP + "export default async (order) => `sent ${await step('mail')(order.to)}`;"
UMBRA = (
    STEP + "export default async (order) => { if (order.spin) while (true) {} return await step('pay')(order.to); };"
)

mail = create_step(id="mail", execute=lambda to: f"mail to {to}")
pay = create_step(id="pay", execute=lambda to: f"money to {to}")
POLICIES = {
    "acme": Policy(steps=(Grant(step="mail"),), concurrent_runs=10),
    "umbra": Policy(steps=(Grant(step="mail"),), fuel_per_event=50_000_000),
}
ORDERS = [("acme", {"to": "ann"}), ("umbra", {"to": "eve"}), ("umbra", {"to": "eve", "spin": True})]


async def main() -> None:
    async with Cloche(steps=[mail, pay], policies=POLICIES) as app:
        for tenant, source in (("acme", ACME), ("umbra", UMBRA)):
            await app.deploy(tenant, source, workflow="order", language="javascript")
        try:
            await app.deploy("umbra", "while (true) {}", workflow="spin", language="javascript")
        except DeployRefused as refused:
            print("umbra may not deploy:", refused.reason)
        for tenant, order in ORDERS:
            result = await (await app.tenant(tenant).start("order", order)).result()
            print(tenant, result.status, result.error or result.result)
        for used in await app.usage():
            print(used.tenant, f"{used.runs} runs, {used.usage.steps} steps, metered: {used.usage.fuel > 0}")


if __name__ == "__main__":
    asyncio.run(main())
