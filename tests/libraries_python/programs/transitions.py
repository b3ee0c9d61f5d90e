from transitions import Machine, MachineError


class Order:
    pass


def program():
    order, seen = Order(), []
    machine = Machine(
        order, states=["new", "paid", "sent"], initial="new", after_state_change=lambda: seen.append(order.state)
    )
    machine.add_transition("pay", "new", "paid")
    machine.add_transition("send", "paid", "sent", conditions=lambda: True)
    order.pay()
    order.send()
    try:
        order.pay()
    except MachineError as error:
        return [seen, order.state, str(error), machine.get_triggers("paid")]
