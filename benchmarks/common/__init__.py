"""What the benchmarks over Spark share: data sets, and the processor time and memory of the processes at work."""
