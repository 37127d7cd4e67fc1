"""What runs inside Phoenix's container: each file is mounted there by itself and imports none of the others."""
