import sqlglot
from sqlglot import exp
from sqlglot.optimizer.simplify import simplify


def program():
    read = sqlglot.parse_one("SELECT a, COUNT(*) c FROM t WHERE x = 1 AND 1 = 1 GROUP BY a LIMIT 3")
    return [
        read.sql("tsql"),
        [one.name for one in read.find_all(exp.Column)],
        simplify(read.args["where"].this.copy()).sql(),
        sqlglot.transpile("SELECT IFNULL(a, 1)", read="mysql", write="postgres"),
    ]
