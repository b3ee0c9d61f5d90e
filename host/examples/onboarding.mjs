// Steps in JavaScript, which Node.js performs: 11_steps_on_node.py calls them.
export async function createAccount(order) {
  "use step";
  return { id: `account of ${order.id}`, mail: order.mail };
}

export async function sendMail(account) {
  "use step";
  return `welcome to ${account.mail}`;
}
