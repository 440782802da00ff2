"""Reply and truth to a score: metrics, intervals, the benchmark's released scorer. Works on files, without tensors."""
