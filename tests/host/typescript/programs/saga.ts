import { FatalError } from "workflow";
import Stripe from "stripe";

const stripe = new Stripe(process.env.STRIPE_KEY!);

interface Order {
  id: string;
  amount: number;
}
type Undo = readonly [name: string, run: () => Promise<unknown>];

export async function checkout(order: Order) {
  "use workflow";
  const undo: Undo[] = [];
  const undone: string[] = [];
  try {
    const hold = await reserve(order.id);
    undo.push(["release", () => release(hold)]);
    await charge(order);
    undo.push(["refund", () => refund(order.id)]);
    await ship(order.id);
    return { status: "shipped", undone } as const;
  } catch (error: unknown) {
    for (const [name, run] of undo.toReversed()) {
      await run();
      undone.push(name);
    }
    if (FatalError.is(error)) return { status: "canceled", why: error.message, undone } as const;
    throw error;
  }
}

async function reserve(id: string): Promise<string> {
  "use step";
  return stripe.reserve(id);
}
async function release(hold: string) {
  "use step";
  await stripe.release(hold);
}
async function charge(order: Order) {
  "use step";
  await stripe.charges.create({ amount: order.amount });
}
async function refund(id: string) {
  "use step";
  await stripe.refunds.create({ charge: id });
}
async function ship(id: string) {
  "use step";
  throw new FatalError(`cannot ship ${id}`);
}
