# What `package-lock.json` in a folder pins, installed in another folder. To be read with `source`.

# Installs the packages of $1 in $2, unless they are there.
install_npm_packages() {
    cmp --quiet "$1/package-lock.json" "$2/installed" && return
    rm -rf "$2"
    mkdir -p "$2"
    cp "$1/package.json" "$1/package-lock.json" "$2"
    npm ci --prefix "$2" --ignore-scripts --no-audit --no-fund --loglevel=error
    cp "$1/package-lock.json" "$2/installed"
}
