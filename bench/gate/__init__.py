"""The performance gate: is HEAD slower, heavier or numerically other than its base?"""
