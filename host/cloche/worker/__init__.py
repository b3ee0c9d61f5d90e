"""Many runs: which of them this process executes, with the other workers of its store."""
