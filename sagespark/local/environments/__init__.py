"""Python environments of the frameworks' images: declared, built once, and kept for every service of the user."""
