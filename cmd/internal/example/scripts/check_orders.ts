type Order = {
  id: string;
  date: string;
  customer: string;
  country: string;
  product: string;
  quantity: number;
  price: number;
};

/** Why an order can not be right, or "" when nothing speaks against it. */
function fault(order: Order, seen: Set<string>): string {
  if (seen.has(order.id)) return "ordered twice";
  if (order.quantity <= 0) return `quantity is ${order.quantity}`;
  if (!/^[^@\s]+@[^@\s]+$/.test(order.customer)) return "customer is no mail address";
  if (order.date > "2026-12-31") return `dated ${order.date}`;
  return "";
}

// Keeps the orders that can be right and adds them up by country.
export async function main(orders: Order[], currency: "EUR" | "USD" = "EUR") {
  const seen = new Set<string>();
  const rejected: { id: string; why: string }[] = [];
  const totals = new Map<string, number>();
  const amounts: number[] = [];
  for (const order of orders) {
    const why = fault(order, seen);
    seen.add(order.id);
    if (why) {
      rejected.push({ id: order.id, why });
      console.log(`rejected ${order.id}: ${why}`);
      continue;
    }
    const amount = Math.round(order.quantity * order.price * 100) / 100;
    amounts.push(amount);
    totals.set(order.country, (totals.get(order.country) ?? 0) + amount);
  }
  const countries = [...totals].sort((a, b) => b[1] - a[1]).map(([country, total]) => ({ country, total: +total.toFixed(2) }));
  return { currency, amounts, countries, rejected };
}
