"""What a page needs beside the package: other people's programs, and the checkers of *Your turn*."""
