"""The parts of benchmarks/frontier.py: tasks, methods, one run, the order of runs, their records, the page."""
