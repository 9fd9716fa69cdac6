def main(countries: list[dict]):
    return "\n".join(f"{c['country']};{c['total']:.2f}" for c in countries)
