from jinja2 import DictLoader, Environment, StrictUndefined, UndefinedError
from markupsafe import Markup, escape

TEMPLATES = {
    "base": "<h1>{% block title %}{% endblock %}</h1>{% block body %}{% endblock %}",
    "page": "{% extends 'base' %}{% block title %}{{ name|title }}{% endblock %}"
    "{% block body %}{% for one in lines if one.n %}{{ loop.index }}. {{ one.sku }} × {{ '%03d' % one.n }}\n{% endfor %}{% endblock %}",
}


def program():
    env = Environment(loader=DictLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    page = env.get_template("page").render(name="<o'neill>", lines=[{"sku": "a&b", "n": 2}, {"sku": "c", "n": 0}])
    try:
        env.from_string("{{ missing }}").render()
    except UndefinedError as error:
        return [page, str(error), Markup("<b>%s</b>") % "<", str(escape("'"))]
