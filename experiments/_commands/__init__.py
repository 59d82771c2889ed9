"""What ``scripts/run`` does beside experiments: fetch data, run a result again, write the table."""
