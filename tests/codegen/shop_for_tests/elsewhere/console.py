screen = "green"
