import networkx as nx


def program():
    graph = nx.DiGraph([("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")])
    return [
        list(nx.topological_sort(graph)),
        nx.shortest_path(graph, "a", "d"),
        {k: round(v, 6) for k, v in sorted(nx.degree_centrality(graph).items())},
        nx.is_directed_acyclic_graph(graph),
    ]
