import pyparsing as pp


def program():
    number = pp.Word(pp.nums).set_parse_action(lambda found: int(found[0]))
    sum_ = pp.infix_notation(number, [(pp.one_of("* /"), 2, pp.OpAssoc.LEFT), (pp.one_of("+ -"), 2, pp.OpAssoc.LEFT)])
    try:
        sum_.parse_string("1 + ", parse_all=True)
    except pp.ParseException as error:
        return [sum_.parse_string("1 + 2 * (3 - 4)").as_list(), str(error)]
