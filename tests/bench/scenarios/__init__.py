"""One module per scenario, with its table of budgets and `run`, which fills a sheet."""
