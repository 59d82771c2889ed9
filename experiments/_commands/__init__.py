"""What ``scripts/run`` does besides experiments: fetch data, rerun a result, write the table."""
