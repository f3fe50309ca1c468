package org.gen3dexport.gen3d

/** What went wrong, in the library's words: what, where, how to mend it. */
class Gen3dException(
    /** The class of the error: one of gen3d.h's numbers. */
    val code: Int,
    text: String,
) : RuntimeException(text.ifEmpty { "gen3d: error $code" }) {

    constructor(code: Int, text: ByteArray) : this(code, String(text, Charsets.UTF_8))

    /** The numbers of gen3d.h. */
    companion object {
        const val INTERNAL = 1
        const val USAGE = 2
        const val MISSING = 3
        const val NOTHING = 5
        const val VERIFICATION = 7
        const val PROGRAM = 9
        const val CANCELLED = 130

        /** What an exception of a callback says, for the library's message. */
        @JvmStatic
        fun saidOf(thrown: Throwable): ByteArray = (thrown.message ?: thrown.toString()).lines().first().toByteArray(Charsets.UTF_8)
    }
}
