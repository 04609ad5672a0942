"""With which code the command ends, beside 0, and 130 where it is interrupted."""

# A comparison or search found a difference.
DIFFERENCE = 1
# The command line, a file or the machine does not allow what was asked.
REFUSED = 2
# A network was compared with what it is to compute, and differs or could not be told; a certificate
# holds, and leaves something unproved.
VERIFICATION_FAILED = 3
# A mistake of planish, or native code that ended the process.
FAILED = 4
# Who read standard output has left: as of what SIGPIPE ends.
NOBODY_READS = 141
