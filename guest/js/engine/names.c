/* Tables of names, of ours, beside those arrays of a function that QuickJS goes through one by one for each name that it meets:
 * with thousands of names at the top level of a module that took most of the time of loading it. A table holds, by the hash of a
 * name, 1 + the first place in the array where it stands. It is made when an array has become long, and grows with it. */
bool js_drops_sources; /* while the prelude is baked */

enum { NAMES_FEW = 32 };

static JSAtom name_of_closure_var(const JSFunctionDef *fd, int place) { return fd->closure_var[place].var_name; }

static JSAtom name_of_global_var(const JSFunctionDef *fd, int place) { return fd->global_vars[place].var_name; }

static uint32_t *slot_of_name(const JSFunctionDef *fd, const JSNameTable *table, JSAtom (*name_of)(const JSFunctionDef *, int),
                              JSAtom name)
{
    uint32_t mask = table->size - 1, at = hash32(name) & mask;
    while (table->slots[at] && name_of(fd, (int)table->slots[at] - 1) != name)
        at = (at + 1) & mask;
    return &table->slots[at];
}

/* The first of `count` places that has the name; -1: none has. */
static int find_name(JSFunctionDef *fd, JSNameTable *table, uint32_t count, JSAtom (*name_of)(const JSFunctionDef *, int),
                     JSAtom name)
{
    if (2 * count > table->size) {
        js_free(fd->ctx, table->slots);
        for (table->size = 4 * NAMES_FEW; table->size < 4 * count; table->size *= 2)
            continue;
        table->count = 0;
        table->slots = js_mallocz(fd->ctx, table->size * sizeof *table->slots);
        if (!table->slots)
            return table->size = 0, -1; /* there is no memory: the turn ends */
    }
    for (; table->count < count; table->count++) {
        uint32_t *slot = slot_of_name(fd, table, name_of, name_of(fd, (int)table->count));
        if (!*slot)
            *slot = table->count + 1;
    }
    return (int)*slot_of_name(fd, table, name_of, name) - 1;
}

static int find_closure_name(JSFunctionDef *fd, JSAtom name)
{
    return find_name(fd, &fd->closure_names, (uint32_t)fd->closure_var_count, name_of_closure_var, name);
}

static int find_global_name(JSFunctionDef *fd, JSAtom name)
{
    return find_name(fd, &fd->global_names, (uint32_t)fd->global_var_count, name_of_global_var, name);
}

/* From where on a variable of this name can stand among those that an evaluated text sees from outside: those of a module are its
 * own and all have names; others may be of a scope that answers for any name. */
static int first_closure_var(JSFunctionDef *fd, JSAtom name)
{
    int place = fd->module && fd->closure_var_count > NAMES_FEW ? find_closure_name(fd, name) : 0;
    return place < 0 ? fd->closure_var_count : place;
}
