"""Traces: what neurons do, recorded step by step, written as arrays, and read again."""
