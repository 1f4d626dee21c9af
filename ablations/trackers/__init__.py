"""From records to the trackers that people use beside this suite."""
