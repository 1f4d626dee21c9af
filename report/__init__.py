"""The story: records in, tables, figures and pages out. Never imports torch."""
