abstract class Priced {
  constructor(protected readonly price: number) {}
  abstract total(): number;
}

export class Cart extends Priced {
  #items: string[] = [];
  static readonly currency = "EUR";
  constructor(
    price: number,
    private owner = "nobody",
  ) {
    super(price);
  }
  add(item: string): this {
    this.#items.push(item);
    return this;
  }
  override total(): number {
    return this.#items.length * this.price;
  }
  get label(): string {
    return `${this.owner}: ${this.total()} ${Cart.currency}`;
  }
  static async pay(amount: number): Promise<string> {
    "use step";
    return `paid ${amount}`;
  }
  static async shop(items: string[]) {
    "use workflow";
    const cart = new Cart(3, "Ada");
    for (const item of items) cart.add(item);
    return [cart.label, await Cart.pay(cart.total())];
  }
}
